use libtest_mimic::Trial;
use crate::server::Kind;
pub fn trials(_: Kind) -> Vec<Trial> { vec![] }
