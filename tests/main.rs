//! End-to-end tests of the two real programs.

mod browser;
