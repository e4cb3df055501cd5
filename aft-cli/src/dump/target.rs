//! Where a dump goes, or another file that is replaced when it is whole: to stdout, or there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::args::{Dump, DumpFormat};
use crate::failure::Failure;
use crate::store::Store;

/// How the names of unfinished dumps begin.
const NAME: &str = ".aft-dump-";

/// Where a dump goes, checked.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it is, in messages.
    what: &'static str,
    /// `None` is stdout.
    path: Option<PathBuf>,
}

/// Where the bytes of a dump are written.
#[derive(Debug)]
pub(crate) enum Sink {
    Stdout(io::Stdout),
    /// A pipe or a device: nothing that could be replaced.
    Direct(File),
    Beside(NamedTempFile),
}

impl Target {
    pub(crate) fn new(args: &Dump, store: &Store) -> Result<Self, Failure> {
        let Some(path) = &args.output else {
            if args.format == DumpFormat::Tar && io::stdout().is_terminal() {
                return Err(Failure::usage("a tar archive does not go to a terminal")
                    .advice("name a file with --output, or pipe it to another command"));
            }
            return Ok(Self { what: "dump", path: None });
        };
        Self::file("dump", path, store)
    }

    /// The file at `path`, which is not in the store.
    pub(crate) fn file(what: &'static str, path: &Path, store: &Store) -> Result<Self, Failure> {
        // A link to a file stays, and the file is replaced.
        let path = path.canonicalize().or_else(|_| std::path::absolute(path));
        let path = path.map_err(|cause| Failure::usage(format!("bad path of a {what}")).because(cause))?;
        let shown = path.display();
        if path.is_dir() {
            return Err(Failure::usage(format!("{shown} is a directory; a {what} is a file")));
        }
        let place = store.directory().and_then(|place| place.canonicalize().ok());
        let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
        if let (Some(place), Some(parent)) = (place, parent)
            && parent.starts_with(&place)
        {
            return Err(Failure::usage(format!("{shown} lies in the store itself")));
        }
        Ok(Self { what, path: Some(path) })
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    pub(crate) fn open(&self) -> Result<BufWriter<Sink>, Failure> {
        let sink = match &self.path {
            None => Ok(Sink::Stdout(io::stdout())),
            Some(path) if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) => {
                OpenOptions::new().write(true).open(path).map(Sink::Direct)
            }
            Some(path) => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                let mut beside = tempfile::Builder::new();
                // As any other file of this user: the mode is what the umask leaves of it.
                #[cfg(unix)]
                beside.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
                beside.prefix(NAME).tempfile_in(folder).map(Sink::Beside)
            }
        };
        Ok(BufWriter::with_capacity(256 << 10, sink.map_err(|cause| self.cannot(cause))?))
    }

    /// The failure of writing it.
    pub(crate) fn cannot(&self, cause: io::Error) -> Failure {
        match &self.path {
            None => Failure::stdout(cause),
            Some(path) => Failure::io(format!("cannot write the {} to {}", self.what, path.display()), cause)
                .advice("what was in the file before is unchanged"),
        }
    }

    /// Puts what is whole in its place, durably.
    pub(crate) fn publish(&self, sink: BufWriter<Sink>) -> Result<(), Failure> {
        let put = || match (sink.into_inner().map_err(io::IntoInnerError::into_error)?, &self.path) {
            (Sink::Beside(file), Some(path)) => {
                file.as_file().sync_all()?;
                file.persist(path)?;
                path.parent().map_or(Ok(()), sync)
            }
            (mut sink, _) => sink.flush(),
        };
        put().map_err(|cause| self.cannot(cause))
    }
}

/// Makes durable which files a folder has; elsewhere than on Unix a folder cannot be synced.
fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(to) => to.write(bytes),
            Self::Direct(to) => to.write(bytes),
            Self::Beside(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(to) => to.flush(),
            Self::Direct(to) => to.flush(),
            Self::Beside(to) => to.flush(),
        }
    }
}
