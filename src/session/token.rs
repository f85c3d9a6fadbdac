//! Tokens of sessions, client secrets and API keys: made here, parsed here, stored only as digests, never printed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::Aead;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use uuid::Uuid;

const SECRET_PREFIX: &str = "tns_";
const KEY_PREFIX: &str = "tnk_";
const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

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

    /// The digest as PostgreSQL spells bytes in text and JSON.
    pub fn as_text(&self) -> String {
        format!("\\x{}", hex(&self.0))
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

/// What a token of a session is for. Each form has a prefix of its own, and none passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenForm {
    /// The session token: what a check takes.
    Session,
    /// An OAuth access token of a mobile session: a check takes it too, while it has not expired.
    Access,
    /// An OAuth refresh token: good for one redemption.
    Refresh,
    /// A token that another store issued, of a session that was imported. It names no session: its digest finds one.
    Foreign,
}

impl TokenForm {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Session => "tn_",
            Self::Access => "tna_",
            Self::Refresh => "tnr_",
            Self::Foreign => "tenure: a token of another store: ",
        }
    }

    /// The digest of a secret in this form: all but the first cover the prefix, so that one cannot be rewritten into another. No
    /// length is that of two forms: 32 bytes, 36, and at least 50 of a foreign token, which is as long as its store made it.
    fn hash(self, secret: &[u8]) -> TokenHash {
        match self {
            Self::Session => TokenHash::of(secret),
            Self::Access | Self::Refresh | Self::Foreign => {
                TokenHash(Sha256::new().chain_update(self.prefix()).chain_update(secret).finalize().into())
            }
        }
    }
}

/// A new secret before the id of its session is known.
pub struct TokenParts {
    form: TokenForm,
    secret: [u8; SECRET_BYTES],
}

impl TokenParts {
    /// 256 bits from the operating system, for a session token.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: a store that cannot make secrets must not go on.
    pub fn new() -> Self {
        Self::of(TokenForm::Session)
    }

    /// The same for a token of any form.
    ///
    /// # Panics
    /// As [`TokenParts::new`].
    pub fn of(form: TokenForm) -> Self {
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret).expect("the operating system's random generator works");
        Self { form, secret }
    }

    /// What the database holds of it.
    pub fn hash(&self) -> TokenHash {
        self.form.hash(&self.secret)
    }

    /// The token the client gets, once.
    pub fn for_session(&self, id: Uuid) -> SessionToken {
        let mut bytes = [0; ID_BYTES + SECRET_BYTES];
        bytes[..ID_BYTES].copy_from_slice(id.as_bytes());
        bytes[ID_BYTES..].copy_from_slice(&self.secret);
        SessionToken(format!("{}{}", self.form.prefix(), URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Encrypts it under another token, which alone opens it again ([`Presented::open`]).
    pub fn sealed_under(&self, key: &Presented) -> Option<Vec<u8>> {
        key.cipher().encrypt(&Nonce::default(), self.secret.as_slice()).ok()
    }
}

impl Default for TokenParts {
    fn default() -> Self {
        Self::new()
    }
}

/// A token of a session: `tn_`, `tna_` or `tnr_` and base64url of the id and 256 random bits. Debug prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(String);

impl SessionToken {
    /// Splits what a client presented as a session token into the session's id and the digest of its secret.
    ///
    /// `None` for everything this store cannot have issued: another length or alphabet, padding, and bits that a
    /// canonical encoding would leave zero. Nothing is hashed before the form is right.
    pub fn parse(presented: &str) -> Option<(Uuid, TokenHash)> {
        let (id, secret) = split(presented, TokenForm::Session)?;
        Some((id, TokenHash::of(&secret)))
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

/// A token of any form as a client presented it.
pub struct Presented {
    /// The session it belongs to, if it belongs to any.
    pub id: Uuid,
    /// What it claims to be good for.
    pub form: TokenForm,
    /// The digest of its secret.
    pub hash: TokenHash,
    secret: [u8; SECRET_BYTES],
}

impl Presented {
    /// Takes a token apart; `None` for everything this store cannot have issued.
    pub fn parse(presented: &str) -> Option<Self> {
        let forms = [TokenForm::Session, TokenForm::Access, TokenForm::Refresh];
        forms.into_iter().find_map(|form| {
            let (id, secret) = split(presented, form)?;
            Some(Self { id, form, hash: form.hash(&secret), secret })
        })
    }

    /// A foreign token, once its digest has led to a session.
    pub fn foreign(id: Uuid, token: &ForeignToken) -> Self {
        // It seals nothing, so it needs no secret.
        Self { id, form: TokenForm::Foreign, hash: token.0, secret: [0; SECRET_BYTES] }
    }

    /// Opens what was sealed under this token; `None` when it was not.
    pub fn open(&self, sealed: &[u8], form: TokenForm) -> Option<TokenParts> {
        let secret = self.cipher().decrypt(&Nonce::default(), sealed).ok()?;
        Some(TokenParts { form, secret: secret.try_into().ok()? })
    }

    /// A key that encrypts one message only, the one successor of this token: so the nonce need not vary.
    fn cipher(&self) -> ChaCha20Poly1305 {
        let key = Sha256::new().chain_update("tenure: seals the successor of a token").chain_update(self.secret).finalize();
        ChaCha20Poly1305::new(&key)
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("id", &self.id).field("form", &self.form).finish_non_exhaustive()
    }
}

/// The digest of a token that another store issued: a connect cookie, a session key of Django. Debug prints nothing of it.
#[derive(Debug, Clone)]
pub struct ForeignToken(TokenHash);

impl ForeignToken {
    /// Fewest bytes: what is shorter can be guessed.
    pub const SHORTEST: usize = 16;
    /// Most bytes: nothing longer is hashed.
    pub const LONGEST: usize = 512;

    /// The digest of what may be such a token: 16 to 512 printable ASCII characters without spaces. `None` for everything else, and
    /// for what begins like a token or key of this store: that is looked up as what it says it is, or not at all.
    pub fn parse(presented: &str) -> Option<Self> {
        let ours = ["tn_", "tna_", "tnr_", KEY_PREFIX, SECRET_PREFIX];
        let fits = (Self::SHORTEST..=Self::LONGEST).contains(&presented.len())
            && presented.bytes().all(|byte| byte.is_ascii_graphic())
            && !ours.iter().any(|prefix| presented.starts_with(prefix));
        fits.then(|| Self(TokenForm::Foreign.hash(presented.as_bytes())))
    }

    /// What the database holds of it.
    pub fn hash(&self) -> &TokenHash {
        &self.0
    }
}

fn split(presented: &str, form: TokenForm) -> Option<(Uuid, [u8; SECRET_BYTES])> {
    let bytes = decode::<{ ID_BYTES + SECRET_BYTES }>(presented.strip_prefix(form.prefix())?)?;
    let (id, secret) = bytes.split_at(ID_BYTES);
    Some((Uuid::from_slice(id).ok()?, secret.try_into().ok()?))
}

/// The secret of a confidential OAuth client: `tns_` and base64url of 256 random bits. Shown once; Debug prints nothing of it.
#[derive(Clone)]
pub struct ClientSecret(String);

impl ClientSecret {
    /// A new secret.
    ///
    /// # Panics
    /// As [`TokenParts::new`].
    pub fn new() -> Self {
        Self(format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(TokenParts::new().secret)))
    }

    /// What the database holds of a secret, however it was made.
    pub fn hash(presented: &str) -> TokenHash {
        TokenHash::of(presented.as_bytes())
    }

    /// The text, shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Default for ClientSecret {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(..)")
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
