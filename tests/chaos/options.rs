//! What the command line asks for. Options of the standard test harness are understood as far as they matter.

use std::time::Duration;

/// Answers of a run of ten minutes: over HTTP, in process.
const FULL: (u64, u64) = (2_000_000, 20_000_000);
/// From here on a run has to give answers at the full rate.
const FULL_SECONDS: u64 = 600;
/// Answers a second that a short run has to give, also unoptimised and whatever else the machine does meanwhile.
const MODEST: (u64, u64) = (8, 100);

/// Drawn from when nobody asks for another: runs of different versions meet the same faults.
const SEED: u64 = 30;

/// One run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What schedule and load are drawn from.
    pub seed: u64,
    /// How long load and faults last.
    pub time: Duration,
    /// Node processes.
    pub nodes: usize,
    /// Definitive answers asked for, over HTTP and in process.
    pub goals: (u64, u64),
    /// Rates aim at so many times the goals: faults take their share, and what a short run must give is far below what it tries.
    pub surplus: f64,
    /// A rule of the cache protocol that the nodes leave out: the run is expected to fail.
    pub weaken: Option<String>,
    /// The run succeeds when it finds an impossible history, and fails otherwise.
    pub expect_violation: bool,
}

/// What to do.
pub enum Command {
    /// Run.
    Run(Options),
    /// Name the tests, as the harness's `--list` does.
    List,
    /// Nothing: another test was asked for.
    Nothing,
    /// Say how to use it.
    Usage(String),
}

/// Reads the arguments.
pub fn read(arguments: impl Iterator<Item = String>) -> Command {
    let (mut seed, mut nodes, mut http, mut in_process, mut weaken) = (None, None, None, None, None);
    let mut seconds = if std::env::var_os("TENURE_TEST_LONG").is_some() { FULL_SECONDS } else { 60 };
    let mut expect_violation = false;
    let mut arguments = arguments.flat_map(|argument| match argument.split_once('=') {
        Some((name, value)) if name.starts_with("--") => vec![name.to_owned(), value.to_owned()],
        _ => vec![argument],
    });
    let usage = |name: &str| Command::Usage(format!("{name} needs another value."));
    while let Some(argument) = arguments.next() {
        let number = |value: Option<String>| value.and_then(|value| value.parse::<u64>().ok());
        let slot = match argument.as_str() {
            "--seed" => &mut seed,
            "--nodes" => &mut nodes,
            "--http-answers" => &mut http,
            "--inprocess-answers" => &mut in_process,
            "--seconds" => match number(arguments.next()) {
                Some(value @ 30..=86_400) => {
                    seconds = value;
                    continue;
                }
                _ => return usage("--seconds (30 or more)"),
            },
            "--weaken" => match arguments.next() {
                Some(rule) => {
                    weaken = Some(rule);
                    continue;
                }
                None => return usage("--weaken"),
            },
            "--expect-violation" => {
                expect_violation = true;
                continue;
            }
            "--list" => return Command::List,
            "--test-threads" | "--skip" | "--color" | "--format" | "--logfile" => {
                arguments.next();
                continue;
            }
            "--ignored" => return Command::Nothing,
            known if known.starts_with('-') => match known {
                "--nocapture" | "--no-capture" | "--exact" | "--include-ignored" | "--quiet" | "-q" | "--show-output" => continue,
                _ => return Command::Usage(format!("{known} is not an option.")),
            },
            filter if "chaos".contains(filter) => continue,
            _ => return Command::Nothing,
        };
        match number(arguments.next()) {
            Some(value) => *slot = Some(value),
            None => return usage(&argument),
        }
    }
    let scaled = |full: u64, modest: u64| if seconds >= FULL_SECONDS { full * seconds / FULL_SECONDS } else { modest * seconds };
    let seed = seed.unwrap_or(SEED);
    match nodes.unwrap_or(3 + seed % 3) {
        nodes @ 3..=5 => Command::Run(Options {
            seed,
            time: Duration::from_secs(seconds),
            nodes: usize::try_from(nodes).unwrap_or(3),
            goals: (http.unwrap_or(scaled(FULL.0, MODEST.0)), in_process.unwrap_or(scaled(FULL.1, MODEST.1))),
            surplus: if seconds >= FULL_SECONDS || http.is_some() || in_process.is_some() { 1.2 } else { 8.0 },
            weaken,
            expect_violation,
        }),
        _ => usage("--nodes (3 to 5)"),
    }
}
