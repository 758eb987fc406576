//! The command line, nothing else.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;
use slotway::admin;
use slotway::backup::{self, RestoreOptions};
use slotway::config::{Flag, Mistakes, Settings, Sources};
use slotway::doctor::{self, Form};
use slotway::drill;
use slotway::launch::{self, LaunchError};
use slotway::runtime::{self, Again};

/// What holds for all commands; the manual has it too.
const CONTRACT: &str = "\
Exit status: 0 after a clean stop, 2 for wrong usage or settings, 1 for failure.

Signals: SIGTERM and SIGINT drain, a second one ends at once. SIGHUP loads settings, users, certificates and passwords \
again. SIGUSR2 hands over to a new process of the same command line.

Settings: each is a key in the settings file, an environment variable (SLOTWAY_LISTEN__ADDRESS is listen.address), and \
for some a flag. A flag beats the environment, the environment beats the file. config/slotway.toml explains every one.";

/// One endpoint over a whole Redis or Valkey Cluster, for clients that know a single server.
#[derive(Parser)]
#[command(version, about, after_long_help = CONTRACT)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a local cluster of real servers, then the gateway before it; Ctrl-C stops both.
    Up(Up),
    /// Start the gateway before a cluster that exists.
    Serve(Serve),
    /// Read a settings file and report every mistake with its place.
    Check(Check),
    /// Ask a running gateway whether it is ready; the exit status tells a container's health check.
    Probe(Probe),
    /// Have a running gateway start its program again, as it is on disk now, and hand over to it without losing a
    /// request. Returns when the new process serves; exit status 1 when the old one goes on.
    Upgrade(Running),
    /// Examine a cluster: what is wrong, why, and what to do. Exit status 1 when something is worse than advice.
    Doctor(Doctor),
    /// Test failover: change a shard's primary and measure what clients see. Exit status 1 when it went wrong.
    Drill(Drill),
    /// Take a backup of a cluster, in a folder or in object storage; list and verify those that are there.
    Backup(Backup),
    /// Make a new local cluster of a backup.
    Restore(RestoreOptions),
    /// Write the manual: this program's page, or into a folder the pages of all its commands.
    Manual(Manual),
    /// Write the completions for a shell.
    Completions(Completions),
    /// Become a server that ends with the process that started it.
    #[command(hide = true)]
    NodeExec(NodeExec),
}

#[derive(Args)]
struct Up {
    /// Primaries to start.
    #[arg(long, value_name = "N", default_value_t = 3)]
    masters: u16,
    /// Replicas of each primary.
    #[arg(long, value_name = "N", default_value_t = 1)]
    replicas: u16,
    /// Port of the first node; the others follow it.
    #[arg(long, value_name = "PORT", default_value_t = 7000)]
    base_port: u16,
    /// Folder where the data is kept and found again [default: one below the user's data folder].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep the data in a temporary folder that is removed at the end.
    #[arg(long, conflicts_with = "dir")]
    ephemeral: bool,
    /// Run cluster and gateway over TLS, by a certificate authority of their own: DIR/tls/ca.pem.
    #[arg(long)]
    tls: bool,
    /// The server program [default: redis-server or valkey-server on the PATH].
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Args)]
struct Serve {
    /// A node of the cluster to ask first; may be given several times.
    #[arg(long = "node", value_name = "HOST:PORT")]
    nodes: Vec<String>,
    #[command(flatten)]
    gateway: Gateway,
}

#[derive(Args)]
struct Check {
    /// The settings file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Try the cluster as well: dial each node, authenticate, ask for its state.
    #[arg(long)]
    connect: bool,
}

#[derive(Args)]
struct Probe {
    #[command(flatten)]
    gateway: Running,
    /// Ask only whether it is alive.
    #[arg(long)]
    alive: bool,
}

/// A gateway that runs on this machine.
#[derive(Args)]
struct Running {
    /// Its address for /healthz and /readyz [default: 127.0.0.1:9121, or what the settings say].
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<String>,
    /// Its settings file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The cluster that a command looks at.
#[derive(Args)]
struct Nodes {
    /// A settings file that names the nodes and how to log in.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A node of the cluster; may be given several times.
    #[arg(long = "node", value_name = "HOST:PORT")]
    nodes: Vec<String>,
}

#[derive(Args)]
struct Doctor {
    #[command(flatten)]
    nodes: Nodes,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Drill {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    options: drill::Options,
}

#[derive(Args)]
struct Backup {
    #[command(flatten)]
    nodes: Nodes,
    #[command(flatten)]
    options: backup::Options,
}

#[derive(Args)]
struct Manual {
    /// The folder, such as /usr/local/share/man/man1; without it, one page goes to standard output.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Args)]
struct Completions {
    shell: Shell,
}

#[derive(Args)]
struct NodeExec {
    server: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Flags that stand for settings. They stay text here, so that a wrong one is reported together
/// with all other mistakes.
#[derive(Args)]
struct Gateway {
    /// Address and port for clients [default: 127.0.0.1:6379].
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Address and port for /metrics, /healthz and /readyz [default: 127.0.0.1:9121].
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<String>,
    /// Worker threads; 0 means one per core [default: 0].
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// A settings file; flags and SLOTWAY_* variables beat it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(status) => status,
        Err(error) => match error.downcast_ref::<Mistakes>() {
            Some(mistakes) => {
                eprintln!("{mistakes}");
                ExitCode::from(2)
            }
            None => {
                eprintln!("slotway: {error:#}");
                let usage = error.downcast_ref::<LaunchError>().is_some_and(LaunchError::is_usage);
                if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
            }
        },
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(up) => {
            let sources = up.gateway.sources(&[]);
            let settings = sources.load()?;
            let levels = runtime::logging::start(&settings.log)?;
            launch::up(up.options(), settings, |settings| {
                // The nodes stay those of the local cluster, whatever the file says.
                let cluster = settings.cluster.clone();
                let again = move || Ok(Settings { cluster: cluster.clone(), ..sources.load()? });
                let may_hand_over = false;
                runtime::serve(settings, Again { settings: Box::new(again), levels, may_hand_over })
            })?;
        }
        Command::Serve(serve) => {
            let sources = Sources { needs_nodes: true, ..serve.gateway.sources(&serve.nodes) };
            let settings = sources.load()?;
            let levels = runtime::logging::start(&settings.log)?;
            let again = Box::new(move || sources.load());
            runtime::serve(settings, Again { settings: again, levels, may_hand_over: true })?;
        }
        Command::Check(check) => check.run()?,
        Command::Probe(probe) => probe.run()?,
        Command::Upgrade(gateway) => {
            writeln!(std::io::stdout(), "{}", runtime::upgrade(&gateway.settings()?)?)?;
        }
        Command::Doctor(doctor) => return doctor.run(),
        Command::Drill(drill) => return drill.run(),
        Command::Backup(backup) => backup.run()?,
        Command::Restore(options) => write!(std::io::stdout(), "{}", backup::restore(&options)?)?,
        Command::Manual(manual) => manual.run()?,
        Command::Completions(completions) => completions.run()?,
        Command::NodeExec(node) => {
            return Err(launch::exec_node(&node.server, node.arguments).into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Up {
    fn options(self) -> launch::Options {
        launch::Options {
            masters: self.masters,
            replicas: self.replicas,
            base_port: self.base_port,
            dir: self.dir,
            ephemeral: self.ephemeral,
            server: self.server,
            tls: self.tls,
            ..launch::Options::default()
        }
    }
}

impl Gateway {
    fn sources(&self, nodes: &[String]) -> Sources {
        let nodes = (!nodes.is_empty()).then(|| nodes.join(","));
        let flags = [
            ("--listen", "listen.address", &self.listen),
            ("--admin", "admin.address", &self.admin),
            ("--workers", "runtime.workers", &self.workers),
            ("--node", "cluster.nodes", &nodes),
        ];
        let given = flags
            .into_iter()
            .filter_map(|(name, path, text)| text.clone().map(|text| Flag { name, path, text }));
        Sources {
            file: self.config.clone(),
            variables: std::env::vars_os().collect(),
            flags: given.collect(),
            needs_nodes: false,
        }
    }
}

impl Running {
    fn settings(self) -> Result<Settings, Mistakes> {
        let flags = Gateway { listen: None, admin: self.admin, workers: None, config: self.config };
        flags.sources(&[]).load()
    }
}

impl Probe {
    fn run(self) -> anyhow::Result<()> {
        let settings = self.gateway.settings()?;
        let path = if self.alive { "/healthz" } else { "/readyz" };
        let answer = admin::probe(&settings.admin, path).with_context(|| {
            format!("no answer from {} (admin.address)", settings.admin.address)
        })?;
        if !answer.ok {
            bail!("{}", answer.body);
        }
        writeln!(std::io::stdout(), "{}", answer.body)?;
        Ok(())
    }
}

impl Nodes {
    fn settings(self, needs_nodes: bool) -> Result<Settings, Mistakes> {
        let nodes = (!self.nodes.is_empty()).then(|| self.nodes.join(","));
        let flag = nodes.map(|text| Flag { name: "--node", path: "cluster.nodes", text });
        let sources = Sources {
            file: self.config,
            variables: std::env::vars_os().collect(),
            flags: flag.into_iter().collect(),
            needs_nodes,
        };
        sources.load()
    }
}

impl Drill {
    fn run(self) -> anyhow::Result<ExitCode> {
        let report = drill::run(self.nodes.settings(true)?, &self.options)?;
        let text = if self.options.json { report.json() } else { report.text() };
        write!(std::io::stdout(), "{text}")?;
        Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Backup {
    fn run(self) -> anyhow::Result<()> {
        let settings = self.nodes.settings(self.options.needs_cluster())?;
        write!(std::io::stdout(), "{}", backup::run(settings, &self.options)?)?;
        Ok(())
    }
}

impl Doctor {
    fn run(self) -> anyhow::Result<ExitCode> {
        let report = doctor::examine(self.nodes.settings(true)?)?;
        let mut out = std::io::stdout();
        let form = if self.json { Form::Json } else { Form::Text { colours: out.is_terminal() } };
        write!(out, "{}", report.write(form))?;
        Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Manual {
    fn run(self) -> anyhow::Result<()> {
        match self.dir {
            Some(dir) => {
                std::fs::create_dir_all(&dir)
                    .and_then(|()| clap_mangen::generate_to(Cli::command(), &dir))
                    .with_context(|| format!("cannot write to {}", dir.display()))?;
            }
            None => {
                let command = Cli::command().disable_help_subcommand(true);
                Man::new(command).render(&mut std::io::stdout())?;
            }
        }
        Ok(())
    }
}

impl Completions {
    fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "slotway", &mut script);
        std::io::stdout().write_all(&script)?;
        Ok(())
    }
}

impl Check {
    fn run(self) -> anyhow::Result<()> {
        let nodes = Nodes { config: Some(self.config.clone()), nodes: Vec::new() };
        let settings = nodes.settings(self.connect)?;
        runtime::check_users(&settings)?;
        let mut out = std::io::stdout();
        writeln!(out, "{}: ok", self.config.display())?;
        if self.connect {
            writeln!(out, "{}", runtime::try_cluster(&settings)?)?;
        }
        Ok(())
    }
}
