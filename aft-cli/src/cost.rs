//! `aft cost`
mod lab;
mod meter;
mod prices;
