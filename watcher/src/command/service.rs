//! `service`: watching that begins when the photographer logs in, as a unit of their own systemd.
//!
//! The unit runs this very program with the options that were typed, in the folder where they were typed. It holds no
//! token: that stays where `login` keeps it, or in the file that `--token-file` names.

use std::ffi::OsString;
use std::path::Path;

use super::{Stop, fatal, usage};
use crate::Exit;
use crate::args::{Args, ServiceAction};
use crate::config::{Config, ConfigError};

const UNIT: &str = "findme-watch.service";

pub(super) fn service(action: ServiceAction) -> Result<Exit, Stop> {
    if !cfg!(target_os = "linux") {
        return Err(fatal(
            "this is not there yet for this system: put the command into its own list of programs that start at login",
        ));
    }
    let folders = directories::BaseDirs::new().ok_or_else(|| fatal("this system names no folder for settings"))?;
    let unit = folders.config_dir().join("systemd/user").join(UNIT);
    match action {
        ServiceAction::Install(args) => install(*args, &unit),
        ServiceAction::Remove => remove(&unit),
    }
}

fn install(args: Args, unit: &Path) -> Result<Exit, Stop> {
    // What would not run now would not run at the next login. The environment's token is not there then.
    match Config::resolve(args, None) {
        Ok(_) => {}
        Err(ConfigError::Token(_)) => {
            let line = "a service has no FINDME_TOKEN: `findme-watch login` first, or give --token-file PATH";
            return Err((Exit::Usage, line.to_owned()));
        }
        Err(error) => return Err(usage(error)),
    }
    let program = std::env::current_exe().map_err(fatal)?;
    // What stands behind `service install`, as it was typed.
    let typed: Vec<OsString> = std::env::args_os().skip(3).collect();
    let settings: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| name.to_string_lossy().starts_with("FINDME_") && name != "FINDME_TOKEN")
        .collect();
    let text = unit_text(&program, &std::env::current_dir().map_err(fatal)?, &typed, &settings)
        .ok_or_else(|| fatal("systemd takes only names that are valid Unicode"))?;
    std::fs::create_dir_all(unit.parent().unwrap_or(unit)).map_err(fatal)?;
    std::fs::write(unit, text).map_err(|error| fatal(format!("{}: {error}", unit.display())))?;
    println!("written: {}", unit.display());
    for words in [&["daemon-reload"][..], &["enable", UNIT], &["restart", UNIT]] {
        systemctl(words)?;
    }
    println!("it watches now, and after each login; `journalctl --user -u {UNIT} -f` shows what it says");
    println!("`loginctl enable-linger` lets it run without a login; `findme-watch service remove` ends it");
    Ok(Exit::Done)
}

fn remove(unit: &Path) -> Result<Exit, Stop> {
    if !unit.exists() {
        println!("there is no service: {} does not exist", unit.display());
        return Ok(Exit::Done);
    }
    systemctl(&["disable", "--now", UNIT])?;
    std::fs::remove_file(unit).map_err(|error| fatal(format!("{}: {error}", unit.display())))?;
    systemctl(&["daemon-reload"])?;
    println!("removed; what was sent is safe, and nothing in the folders was touched");
    Ok(Exit::Done)
}

fn systemctl(words: &[&str]) -> Result<(), Stop> {
    let by_hand = format!("systemctl --user {}", words.join(" "));
    let ran = std::process::Command::new("systemctl").arg("--user").args(words).output();
    match ran {
        Ok(ran) if ran.status.success() => Ok(()),
        Ok(ran) => {
            let why = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
            Err(fatal(format!("`{by_hand}` did not work ({why}); try it in a session of your own")))
        }
        Err(error) => Err(fatal(format!("`{by_hand}` could not be run ({error}): this system has no systemd"))),
    }
}

/// `None` when a name is not valid Unicode.
fn unit_text(program: &Path, folder: &Path, typed: &[OsString], settings: &[(OsString, OsString)]) -> Option<String> {
    let mut command = vec![quoted(program.to_str()?)];
    if !typed.iter().any(|word| word.to_string_lossy().starts_with("--output")) {
        command.push("--output plain".to_owned());
    }
    for word in typed {
        command.push(quoted(word.to_str()?));
    }
    let mut environment = String::new();
    for (name, value) in settings {
        environment += &format!("Environment={}\n", quoted(&format!("{}={}", name.to_str()?, value.to_str()?)));
    }
    let (command, folder) = (command.join(" "), folder.to_str()?.replace('%', "%%"));
    Some(format!(
        "# Written by `findme-watch service install`.\n\
         [Unit]\nDescription=FindMe: send new photos\n\n\
         [Service]\nExecStart={command}\nWorkingDirectory={folder}\n{environment}\
         # Ctrl-C: finish what is being sent.\nKillSignal=SIGINT\nTimeoutStopSec=30\n\
         Restart=on-failure\nRestartSec=10\n\
         # Wrong options, a refused token, a manifest that cannot be read: a person is needed.\n\
         RestartPreventExitStatus=2 5 6\n\n\
         [Install]\nWantedBy=default.target\n"
    ))
}

/// One word of systemd's command lines.
fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_program_as_they_were_typed() {
        let words: Vec<OsString> =
            ["/photos/Anna & Ben \"100%\"", "--include", "$*.jpg", "a\\b"].map(Into::into).to_vec();
        let settings = [("FINDME_SERVER".into(), "https://photos.example".into())];
        let text = unit_text(Path::new("/opt/find me"), Path::new("/home/a%b"), &words, &settings).unwrap();
        let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("{text}"));
        let expected = r#""/opt/find me" --output plain "/photos/Anna & Ben \"100%%\"" "--include" "$$*.jpg" "a\\b""#;
        assert_eq!(line("ExecStart="), expected);
        assert_eq!(line("WorkingDirectory="), "/home/a%%b");
        assert_eq!(line("Environment="), r#""FINDME_SERVER=https://photos.example""#);
    }
}
