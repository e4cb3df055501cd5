//! `aft` on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, ExitStatus, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// What a command did and said there.
pub struct Said {
    pub status: ExitStatus,
    /// What was typed, what came on stderr, and what came on stdout where that is the terminal too.
    pub screen: String,
}

/// Runs a command whose stdin and stderr are a terminal at which this is typed, and stdout too, or else nothing.
pub fn on_terminal(command: &mut Command, typed: &str, stdout_too: bool) -> Said {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let end = |fd: &OwnedFd| Stdio::from(fd.as_fd().try_clone_to_owned().unwrap());
    command.stdin(end(&slave)).stderr(end(&slave));
    command.stdout(if stdout_too { end(&slave) } else { Stdio::null() });
    let mut child = command.spawn().unwrap();
    // The command and its streams hold the terminal open, and nobody else: it ends with them.
    drop(slave);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut master = File::from(master);
    master.write_all(typed.as_bytes()).unwrap();
    let mut screen = Vec::new();
    let mut buffer = [0; 4096];
    // It ends with an error, and no end of file.
    while let Ok(len @ 1..) = master.read(&mut buffer) {
        screen.extend_from_slice(&buffer[..len]);
    }
    let status = child.wait().unwrap();
    Said { status, screen: String::from_utf8(screen).unwrap() }
}
