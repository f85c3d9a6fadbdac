//! Which version of a row somebody looked at, so that a change that rests on having seen it overwrites nobody's.

use std::fmt;

use crate::error::Error;

/// The transaction that wrote a row last, `xmin`: whatever changes the row gives it another one. It needs no column, and every
/// way of changing the row moves it, plain SQL included. The default is the revision of no row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Revision(pub(super) i64);

impl Revision {
    /// The revision that [`fmt::Display`] wrote. What cannot be read is the revision of no row: no transaction has the number 0.
    pub fn read(text: &str) -> Self {
        Self(text.parse().unwrap_or(0))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The row is another one than was seen.
pub(super) fn changed_since(what: &str) -> Error {
    let message = format!("{what} has changed since it was read, so nothing was done.");
    Error::refused(412, "version_mismatch", message, "Look at it as it is now, and repeat the change if it is still meant.")
}

#[cfg(test)]
mod tests {
    use super::Revision;

    #[test]
    fn what_is_no_revision_is_that_of_no_row() {
        assert_eq!(Revision::read(&Revision(4_294_967_295).to_string()), Revision(4_294_967_295));
        for text in ["", "x", "0", "1.5", "99999999999999999999", "1\0"] {
            assert_eq!(Revision::read(text), Revision(0), "{text:?}");
        }
    }
}
