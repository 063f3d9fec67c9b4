//! Processes of a run: the service, the load client, proxies.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::role::Role;

/// How long anything may take to start.
const START: Duration = Duration::from_secs(10);
/// How long a process may take to stop by itself.
const STOP: Duration = Duration::from_secs(2);
/// Between two looks at something that is not there yet.
const LOOK: Duration = Duration::from_millis(2);

/// A process, ended when it is dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a proxy, and waits until its port takes connections.
    pub(crate) fn proxy(mut command: Command, port: SocketAddr) -> Result<Self, String> {
        let name = format!("{}", command.get_program().display());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Self::start(command, name)?;
        process.wait_for(port)?;
        Ok(process)
    }

    /// Starts this program again, in another role.
    pub(crate) fn role(role: &Role) -> Result<Self, String> {
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(own);
        role.put_into(&mut command);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self::start(command, role.name().to_owned())
    }

    fn start(mut command: Command, name: String) -> Result<Self, String> {
        let child = command
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        Ok(Self { child, name })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to it.
    pub(crate) fn tell(&mut self, line: &str) -> Result<(), String> {
        let told = match &mut self.child.stdin {
            Some(input) => writeln!(input, "{line}").is_ok(),
            None => false,
        };
        if told { Ok(()) } else { Err(self.complaint()) }
    }

    /// The next line that it prints, of which nothing may come before it is waited for.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        let out = self.child.stdout.as_mut();
        let out = out.ok_or_else(|| format!("{} has no output", self.name))?;
        let mut line = String::new();
        match BufReader::new(out).read_line(&mut line) {
            Ok(read) if read > 0 => Ok(line),
            _ => Err(self.complaint()),
        }
    }

    fn wait_for(&mut self, port: SocketAddr) -> Result<(), String> {
        let begin = Instant::now();
        while TcpStream::connect(port).is_err() {
            if self.has_ended() || begin.elapsed() > START {
                return Err(self.complaint());
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// What it said before it failed.
    fn complaint(&mut self) -> String {
        self.stop();
        let mut told = String::new();
        if let Some(mut error) = self.child.stderr.take() {
            let _ = error.read_to_string(&mut told);
        }
        format!("{} failed: {}", self.name, told.trim())
    }

    /// Asks it to end, since a killed nginx would leave its worker behind; kills it where it does not.
    fn stop(&mut self) {
        if let Some(process) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(process, Signal::TERM);
        }
        let begin = Instant::now();
        while !self.has_ended() && begin.elapsed() < STOP {
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// As many ports that nobody uses; none is named twice.
pub(crate) fn free_ports<const N: usize>() -> Result<[SocketAddr; N], String> {
    let mut ports = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind(*port).map_err(|error| error.to_string())?;
        *port = listener.local_addr().map_err(|error| error.to_string())?;
        held.push(listener);
    }
    Ok(ports)
}
