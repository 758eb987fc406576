//! The libraries under test, installed into `target/clients` when what is asked for has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

/// A python that has the packages of `python/requirements.txt`.
pub(crate) fn python() -> &'static Path {
    static READY: OnceLock<PathBuf> = OnceLock::new();
    READY.get_or_init(|| {
        let folder = target().join("python");
        let python = folder.join("bin/python");
        let wanted = sources().join("python/requirements.txt");
        install(&folder, &wanted, || {
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
            run(Command::new(&python).args(pip).arg(&wanted));
        });
        python
    })
}

/// A folder of scripts for node, beside the packages of `node/package.json`.
pub(crate) fn node() -> &'static Path {
    static READY: OnceLock<PathBuf> = OnceLock::new();
    READY.get_or_init(|| {
        let folder = target().join("node");
        let wanted = sources().join("node/package.json");
        install(&folder, &wanted, || {
            fs::copy(&wanted, folder.join("package.json")).unwrap();
            let npm = ["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"];
            run(Command::new("npm").args(npm).current_dir(&folder));
        });
        // Node looks for packages beside the script, wherever it is called from.
        for from in ["node", "guide"] {
            for entry in fs::read_dir(sources().join(from)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|extension| extension == "mjs") {
                    fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        folder
    })
}

/// A program with the Rust clients. Cargo itself knows whether it must be built again.
pub(crate) fn rust() -> &'static Path {
    static READY: OnceLock<PathBuf> = OnceLock::new();
    READY.get_or_init(|| {
        let target = target().join("rust");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--manifest-path"]);
        cargo.arg(sources().join("rust/Cargo.toml")).arg("--target-dir").arg(&target);
        run(&mut cargo);
        target.join("debug/slotway-clients")
    })
}

/// Where the scripts stand.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients")
}

/// Runs the steps unless they were run for this very list before. Runs of two binaries wait for each other.
fn install(folder: &Path, wanted: &Path, steps: impl FnOnce()) {
    fs::create_dir_all(folder).unwrap();
    let lock = fs::File::create(folder.with_extension("lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let (list, mark) = (fs::read(wanted).unwrap(), folder.join("installed"));
    if fs::read(&mark).is_ok_and(|installed| installed == list) {
        return;
    }
    fs::remove_dir_all(folder).unwrap();
    fs::create_dir_all(folder).unwrap();
    steps();
    fs::write(mark, list).unwrap();
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let printed = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?} ended with {}: {printed}", done.status);
}
