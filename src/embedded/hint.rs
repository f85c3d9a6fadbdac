//! What to do about an error: how to install PostgreSQL here, how to mend a file step.

use std::fs;
use std::io;

/// One clause on how to get server binaries here, of `major` when a certain version is needed.
pub(super) fn install(major: Option<u32>) -> String {
    let command = match (family().as_str(), major) {
        ("apt", Some(major)) => format!("apt-get install postgresql-{major}"),
        ("apt", None) => "apt-get install postgresql".to_owned(),
        ("dnf", Some(major)) => format!("dnf install postgresql{major}-server"),
        ("dnf", None) => "dnf install postgresql-server".to_owned(),
        ("apk", Some(major)) => format!("apk add postgresql{major}"),
        ("apk", None) => "apk add postgresql".to_owned(),
        ("pacman", _) => "pacman -S postgresql".to_owned(),
        ("brew", major) => format!("brew install postgresql@{}", major.unwrap_or(17)),
        _ => "your system's package manager".to_owned(),
    };
    let script = match major {
        // The script takes any version it finds, which is not enough when one is demanded.
        Some(major) => {
            format!("install it with TENURE_POSTGRES_MAJOR={major} scripts/install-postgres.sh")
        }
        None => "install one with scripts/install-postgres.sh".to_owned(),
    };
    format!(
        "{script} or by hand ({command}), or name its directory in TENURE_POSTGRES_BIN, or use a \
         server of your own with DATABASE_URL"
    )
}

/// The package manager of this system, told from `os-release` because that needs no process.
fn family() -> String {
    if cfg!(target_os = "macos") {
        return "brew".to_owned();
    }
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    family_of(&text).to_owned()
}

fn family_of(os_release: &str) -> &'static str {
    let ids = os_release
        .lines()
        .filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")))
        .flat_map(|value| value.trim_matches('"').split(' '));
    for id in ids {
        match id {
            "debian" | "ubuntu" => return "apt",
            "fedora" | "rhel" | "centos" => return "dnf",
            "alpine" => return "apk",
            "arch" => return "pacman",
            _ => {}
        }
    }
    "unknown"
}

/// What to do about an error of the file system: the system's own words say only what happened.
pub(super) fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "run as the user who owns the data directory, or choose another with --data-dir",
        io::ErrorKind::ReadOnlyFilesystem => "choose a --data-dir on a file system that can be written to",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on that disk, or choose another --data-dir",
        io::ErrorKind::Unsupported => "choose a --data-dir on a local disk, because this file system has no file locks",
        _ => "check the data directory, or choose another with --data-dir",
    }
}

#[cfg(test)]
mod tests {
    use super::family_of;

    #[test]
    fn derivatives_are_told_by_what_they_are_like() {
        assert_eq!(family_of("ID=debian\n"), "apt");
        assert_eq!(family_of("NAME=x\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), "dnf");
        assert_eq!(family_of("ID=alpine\n"), "apk");
        assert_eq!(family_of("ID=plan9\n"), "unknown");
    }
}
