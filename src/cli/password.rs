//! A password from whoever types it: never from the command line, which others can read.

use std::io::{IsTerminal, Read, stdin};

use super::Failure;

/// Longest input read, bytes: far more than a password has.
const LONGEST: u64 = 4096;

/// Reads a new password: twice and without echo on a terminal, else the one line on stdin.
pub(super) fn read() -> Result<String, Failure> {
    if stdin().is_terminal() {
        let password = rpassword::prompt_password("New password: ")?;
        if rpassword::prompt_password("Again: ")? != password {
            return Err(Failure::Usage("The two passwords differ; nothing was changed.".to_owned()));
        }
        return Ok(password);
    }
    let mut text = String::new();
    stdin().take(LONGEST).read_to_string(&mut text).map_err(|error| {
        Failure::Usage(format!("The password could not be read from stdin: {error}. Pass it as one line of UTF-8."))
    })?;
    let password = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(password.to_owned())
}
