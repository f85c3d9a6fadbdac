//! Passwords of those who sign in through the store itself: argon2id, kept as PHC strings.

use std::fmt;

use argon2::password_hash::{Error, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

/// Memory that one hash takes, KiB; with two passes and one lane what OWASP recommends for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The hash of nobody's password, verified where there is none: so the answer takes the same work.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password as it was typed, in composed form; what it may be says `input`.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// Takes a text as a password.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// A hash under a new salt. It takes 19 MiB and tens of milliseconds of a processor.
    ///
    /// # Panics
    /// When the operating system has no random bytes: no salt is better than a known one.
    pub fn hash(&self) -> String {
        let hash: argon2::PasswordHash =
            hasher().hash_password(self.0.as_bytes()).expect("the operating system's random generator works");
        hash.to_string()
    }

    /// Whether it is the password of this hash. Without a hash, or with one that cannot be read, it is not, after the same work.
    pub fn matches(&self, hash: Option<&str>) -> bool {
        let verify = |hash: &str| hasher().verify_password(self.0.as_bytes(), hash);
        match hash.map(verify) {
            Some(Ok(())) => true,
            Some(Err(Error::PasswordInvalid)) => false,
            None | Some(Err(_)) => {
                let _ = verify(NOBODY);
                false
            }
        }
    }
}

fn hasher() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("these parameters are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
