//! Session tokens and API keys: made here, parsed here, stored only as digests, never printed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use uuid::Uuid;

const TOKEN_PREFIX: &str = "tn_";
const KEY_PREFIX: &str = "tnk_";
const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// SHA-256 of a secret: what the database holds. It compares in constant time and prints nothing.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// A digest the database holds.
    pub const fn stored(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest, for a statement's parameter.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether a stored digest is this one, in constant time.
    pub fn matches(&self, stored: &[u8]) -> bool {
        // By words: the same promise, in an eighth of the steps.
        let (ours, theirs) = (self.0.as_chunks::<8>().0, stored.as_chunks::<8>().0);
        let equal = ours
            .iter()
            .zip(theirs)
            .fold(Choice::from(1), |equal, (our, their)| equal & u64::from_ne_bytes(*our).ct_eq(&u64::from_ne_bytes(*their)));
        stored.len() == self.0.len() && equal.into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// A new secret before the id of its session is known.
pub struct TokenParts {
    secret: [u8; SECRET_BYTES],
}

impl TokenParts {
    /// 256 bits from the operating system.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: a store that cannot make secrets must not go on.
    pub fn new() -> Self {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).expect("the operating system's random generator works");
        Self { secret }
    }

    /// What the database holds of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.secret)
    }

    /// The token the client gets, once.
    pub fn for_session(&self, id: Uuid) -> SessionToken {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        bytes[..ID_BYTES].copy_from_slice(id.as_bytes());
        bytes[ID_BYTES..].copy_from_slice(&self.secret);
        SessionToken(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }
}

impl Default for TokenParts {
    fn default() -> Self {
        Self::new()
    }
}

/// A session token: `tn_` and base64url of the id and 256 random bits. Debug prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(String);

impl SessionToken {
    /// Splits what a client presented into the session's id and the digest of its secret.
    ///
    /// `None` for everything this store cannot have issued: another length or alphabet, padding, and bits that a
    /// canonical encoding would leave zero. Nothing is hashed before the form is right.
    pub fn parse(presented: &str) -> Option<(Uuid, TokenHash)> {
        let bytes = decode::<{ ID_BYTES + SECRET_BYTES }>(presented.strip_prefix(TOKEN_PREFIX)?)?;
        let id = Uuid::from_slice(&bytes[..ID_BYTES]).ok()?;
        Some((id, TokenHash::of(&bytes[ID_BYTES..])))
    }

    /// The text for the client.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// An API key: `tnk_` and base64url of 256 random bits and a checksum, so that a scanner knows one and a typing error is
/// told without a look-up.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// A new key.
    ///
    /// # Panics
    /// As [`TokenParts::new`].
    pub fn new() -> Self {
        let mut bytes = [0; SECRET_BYTES + CHECKSUM_BYTES];
        getrandom::fill(&mut bytes[..SECRET_BYTES]).expect("the operating system's random generator works");
        let sum = checksum(&bytes[..SECRET_BYTES]);
        bytes[SECRET_BYTES..].copy_from_slice(&sum);
        Self(format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The digest of a presented key; `None` for what cannot be one.
    pub fn parse(presented: &str) -> Option<TokenHash> {
        let bytes = decode::<{ SECRET_BYTES + CHECKSUM_BYTES }>(presented.strip_prefix(KEY_PREFIX)?)?;
        let (secret, sum) = bytes.split_at(SECRET_BYTES);
        (sum == checksum(secret)).then(|| TokenHash::of(secret))
    }

    /// The text, shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Default for ApiKey {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

fn checksum(secret: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new().chain_update(KEY_PREFIX).chain_update(secret).finalize();
    std::array::from_fn(|i| digest[i])
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != (N * 4).div_ceil(3) {
        return None;
    }
    let mut bytes = [0; N];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == N).then_some(bytes)
}
