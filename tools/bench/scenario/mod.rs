//! Scenarios: what coordination services are used for, beyond one operation in a loop. Each runs against any servers, is bounded in
//! count and time, removes what it made, and fails when an answer is wrong.

mod barrier;
mod fan_out;
pub mod fill;
mod locks;
mod loops;
pub mod pool;
pub mod stage;
pub mod storms;

use crate::figures::Figures;
use crate::host::Host;
use crate::usage::Watched;
use crate::{Failure, Target, print_figures, seconds};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Scenario {
    /// getData and setData at 0, 20, 50, 80, 95 and 100 % reads.
    ReadRatio,
    /// create of ever new nodes.
    Creates,
    /// multi of 20 setData.
    Multi,
    /// getChildren2 of nodes with 100, 10,000 and 100,000 children, up to --size.
    Children,
    /// setData and getData of values from 100 bytes to just under jute.maxbuffer, up to --size.
    Values,
    /// A Hadoop-like mixture: exists 25 %, getData 30, getChildren2 10, setData 15, create 8, delete 8, multi 2, sync 2.
    Hadoop,
    /// A Spark-like mixture: create 30 %, delete 30, getData 20, getChildren2 10, setData 10.
    Spark,
    /// Watch fan-out: one write, --sessions watchers, until the last has heard.
    FanOut,
    /// Lock hand-offs among --sessions contenders, each behind its predecessor's node.
    Locks,
    /// Double barrier of --sessions: all enter, all leave.
    Barrier,
    /// Sessions that open, create an ephemeral node and close, --sessions at a time.
    Churn,
    /// Connection storm: --sessions at once, each answered once.
    Connections,
    /// Expiry storm: --sessions with --size ephemeral nodes each, abandoned.
    Expiry,
}

/// What a scenario is run with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// HOST:PORT of each server; the sessions are spread over them.
    pub servers: Vec<String>,
    /// Processes and device of the servers.
    pub watched: Watched,
    /// Sessions.
    pub sessions: usize,
    /// What the scenario says.
    pub size: usize,
    /// How long the scenarios that go on until told otherwise do, or each of their parts.
    pub measured: Duration,
    /// After this the scenario has failed.
    pub time_max: Duration,
}

/// Most sessions; each needs a descriptor and a port.
pub const SESSIONS_MAX: usize = 20_000;
/// Largest size of any scenario.
const SIZE_MAX: usize = 1_048_000;

impl Scenario {
    /// Sessions and size as the scenario is meant, and small enough for a second or two.
    fn defaults(self, tiny: bool) -> (usize, usize) {
        let (full, small) = match self {
            Scenario::ReadRatio | Scenario::Creates | Scenario::Multi => ((8, 0), (4, 0)),
            Scenario::Children => ((4, 100_000), (2, 10_000)),
            Scenario::Values => ((4, SIZE_MAX), (2, SIZE_MAX)),
            Scenario::Hadoop | Scenario::Spark => ((16, 0), (4, 0)),
            Scenario::FanOut => ((10_000, 0), (200, 0)),
            Scenario::Locks => ((100, 0), (8, 0)),
            Scenario::Barrier => ((100, 0), (8, 0)),
            Scenario::Churn => ((100, 0), (8, 0)),
            Scenario::Connections => ((10_000, 0), (200, 0)),
            Scenario::Expiry => ((10_000, 10), (50, 4)),
        };
        if tiny { small } else { full }
    }

    /// Runs it.
    pub fn run(self, plan: &Plan) -> Result<Vec<Figures>, Failure> {
        if plan.sessions == 0 || plan.sessions > SESSIONS_MAX || plan.size > SIZE_MAX || plan.servers.is_empty() {
            return Err(format!("a scenario takes 1 to {SESSIONS_MAX} sessions, a size of at most {SIZE_MAX}, and at least one server"));
        }
        let one = |figures: Result<Figures, Failure>| figures.map(|figures| vec![figures]);
        match self {
            Scenario::ReadRatio => loops::read_ratio(plan),
            Scenario::Creates => loops::one(plan, "create", 64, 100),
            Scenario::Multi => loops::one(plan, "multi:20", 16, 100),
            Scenario::Children => loops::children(plan),
            Scenario::Values => loops::values(plan),
            Scenario::Hadoop => loops::one(plan, "hadoop", 8, 200),
            Scenario::Spark => loops::one(plan, "spark", 8, 1000),
            Scenario::FanOut => one(fan_out::run(plan)),
            Scenario::Locks => one(locks::run(plan)),
            Scenario::Barrier => one(barrier::run(plan)),
            Scenario::Churn => one(storms::churn(plan)),
            Scenario::Connections => one(storms::connections(plan)),
            Scenario::Expiry => one(storms::expiry(plan)),
        }
    }
}

/// What `scenario` takes.
#[derive(clap::Args)]
pub struct ScenarioArguments {
    /// Which, several with commas; all if none is named.
    #[arg(value_delimiter = ',')]
    names: Vec<Scenario>,
    #[command(flatten)]
    target: Target,
    /// Sessions; each scenario has its own number if none is given.
    #[arg(long)]
    sessions: Option<usize>,
    /// Size, as the scenario says.
    #[arg(long)]
    size: Option<usize>,
    /// Seconds that a scenario goes on, or each of its parts.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds after which a scenario has failed.
    #[arg(long, default_value_t = 300.0)]
    time_max: f64,
    /// Small enough to take a second or two: shows that the instrument works, measures nothing.
    #[arg(long)]
    tiny: bool,
    /// Print JSON, one object for each measurement.
    #[arg(long)]
    json: bool,
    /// Also write all figures to this file, for `report`.
    #[arg(long)]
    save: Option<PathBuf>,
}

/// At the start of every file with the figures of scenarios.
pub const RESULTS_FORMAT: &str = "ringkeeper-scenarios-1";

/// Such a file.
#[derive(Serialize, Deserialize)]
pub struct Results {
    /// [`RESULTS_FORMAT`].
    pub format: String,
    /// Where and when.
    pub host: Host,
    /// What came out.
    pub figures: Vec<Figures>,
}

/// Runs the scenarios that were named.
pub fn run(arguments: &ScenarioArguments) -> Result<(), Failure> {
    let all = <Scenario as clap::ValueEnum>::value_variants();
    let program = std::env::current_exe().ok();
    let host = Host::look(program.as_deref(), Path::new("."));
    let mut results = Results { format: RESULTS_FORMAT.to_owned(), host, figures: Vec::new() };
    let names = if arguments.names.is_empty() { all } else { &arguments.names };
    for scenario in names {
        let (sessions, size) = scenario.defaults(arguments.tiny);
        let plan = Plan {
            servers: arguments.target.connect.clone(),
            watched: arguments.target.watched()?,
            sessions: arguments.sessions.unwrap_or(sessions),
            size: arguments.size.unwrap_or(size),
            measured: seconds(if arguments.tiny { arguments.seconds.min(0.3) } else { arguments.seconds })?,
            time_max: seconds(arguments.time_max)?,
        };
        let all = scenario.run(&plan).map_err(|e| format!("{scenario:?}: {e}"))?;
        for figures in &all {
            print_figures(figures, arguments.json)?;
            if !arguments.json {
                say!("");
            }
        }
        results.figures.extend(all);
        if let Some(path) = &arguments.save {
            let text = serde_json::to_string_pretty(&results).map_err(|e| e.to_string())?;
            std::fs::write(path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}
