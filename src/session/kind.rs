//! The words of the domain, each with its spelling in SQL, JSON and on the command line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An enum of fixed words: the same spelling in SQL, JSON and arguments.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every word, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word as SQL, JSON and arguments spell it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("expected one of {}", [$($word),+].join(", "))),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(word: String) -> Result<Self, String> {
                word.parse()
            }
        }
    };
}

words! {
    /// Kind of a session; it never changes (K1).
    Kind {
        /// A signed-in person in a browser.
        User = "user",
        /// A request without authentication.
        Guest = "guest",
        /// A REST or other API client.
        Integration = "integration",
        /// A native app holding OAuth tokens.
        Mobile = "mobile",
    }
}

words! {
    /// What the client runs on.
    Device {
        /// A desktop browser: the only device whose homepage reload can extend a session (A4).
        Desktop = "desktop",
        /// A tablet.
        Tablet = "tablet",
        /// A phone's browser.
        Phone = "phone",
        /// A native app.
        App = "app",
    }
}

words! {
    /// What a check says it is (A1). For each kind its activities stand from the strongest to the weakest.
    Activity {
        /// A browser action or an API call.
        User = "user",
        /// A label, a timed dashboard refresh.
        Ajax = "ajax",
        /// Polling while the chat desktop is open.
        ChatPoll = "chat_poll",
        /// The homepage's own reload.
        AutoRefresh = "auto_refresh",
        /// A mobile app on the screen.
        Foreground = "foreground",
        /// A mobile app running a long task.
        Task = "task",
        /// A mobile app in the background.
        Background = "background",
        /// A question that never counts.
        Passive = "passive",
    }
}

words! {
    /// What an API key or console user may do (U6).
    Role {
        /// Everything.
        Admin = "admin",
        /// Lock and unlock users; read users, sessions and events.
        UserAdmin = "user_admin",
        /// What an application needs for its own clients; for API keys only.
        App = "app",
        /// Read.
        Reporter = "reporter",
    }
}

words! {
    /// Why a session ended (SEMANTICS 5).
    EndReason {
        /// The idle limit passed.
        Idle = "idle",
        /// The maximum life passed.
        MaxLife = "max_life",
        /// Remember Me ran out.
        RememberMe = "remember_me",
        /// The guest session a sign-out left ran out.
        Residue = "residue",
        /// Its client signed out.
        SignedOut = "signed_out",
        /// A guest signed in.
        SignedIn = "signed_in",
        /// Somebody ended it.
        Terminated = "terminated",
        /// Its user was locked out.
        LockedOut = "locked_out",
        /// Its user became inactive.
        Inactivated = "inactivated",
        /// A used refresh token was presented again.
        TokenReuse = "token_reuse",
        /// Maintenance.
        Maintenance = "maintenance",
        /// The limit of concurrent sessions.
        ConcurrentLimit = "concurrent_limit",
    }
}

impl Activity {
    /// Whether a session of the kind may report this activity (A1).
    pub const fn allowed_for(self, kind: Kind) -> bool {
        matches!(
            (kind, self),
            (_, Self::Passive)
                | (Kind::User | Kind::Guest, Self::User | Self::Ajax | Self::ChatPoll | Self::AutoRefresh)
                | (Kind::Integration, Self::User | Self::Ajax)
                | (Kind::Mobile, Self::Foreground | Self::Task | Self::Background)
        )
    }

    /// Of two activities the one that keeps a session alive less.
    #[must_use]
    pub fn weaker(self, other: Self) -> Self {
        std::cmp::max_by_key(self, other, |activity| *activity as u8)
    }

    /// The kinds whose sessions may report this activity.
    pub fn kinds(self) -> Vec<String> {
        Kind::ALL.iter().filter(|kind| self.allowed_for(**kind)).map(ToString::to_string).collect()
    }
}
