//! The users of this machine. The system's own lookup would need unsafe code, and the users that a
//! server may run as are local ones.

use std::fs;
use std::path::Path;

use super::user::ServerUser;

/// The text of the user list; a machine without one has no users to choose from.
pub(super) fn read() -> String {
    fs::read_to_string("/etc/passwd").unwrap_or_default()
}

/// The first entry of a passwd file that suits. Ids may be written as negative numbers (macOS).
pub(super) fn entry(passwd: &str, suits: impl Fn(&ServerUser) -> bool) -> Option<ServerUser> {
    let id = |text: &str| {
        let negative = || text.parse().ok().map(i32::cast_unsigned);
        text.parse::<u32>().ok().or_else(negative)
    };
    let users = passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let &[name, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return None;
        };
        let home = Path::new(home);
        Some(ServerUser {
            ids: Some((id(uid)?, id(gid)?)),
            name: name.to_owned(),
            home: if home.is_dir() { home } else { Path::new("/") }.to_owned(),
        })
    });
    users.into_iter().find(|user| suits(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_negative_ids_are_wrapped() {
        let passwd = "# comment\nroot:x:0:0::/:/bin/sh\nnobody:*:-2:-2:x:/nonexistent:/bin/false\n";
        let user = entry(passwd, |user| user.name == "nobody").unwrap();
        assert_eq!(user.ids, Some((u32::MAX - 1, u32::MAX - 1)));
        assert_eq!(user.home, Path::new("/"));
        assert!(entry(passwd, |user| user.name == "postgres").is_none());
    }
}
