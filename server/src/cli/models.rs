//! Face packs: what there is, and getting it.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Subcommand;

use super::{DataArg, folder};
use crate::face::{chosen, default_pack, packs};
use crate::models::{InstallError, folder_in, install};

#[derive(Debug, Subcommand)]
pub(super) enum ModelsCommand {
    /// List the packs, their files, licences and sources.
    List,
    /// Fetch a pack's files from their official places, or take them from a folder; every file's digest is checked.
    Install {
        /// Name of the pack, or a file that describes one [default: the default pack].
        pack: Option<String>,
        /// You state that your use is not commercial, for a pack whose licence asks for that.
        #[arg(long)]
        accept_non_commercial: bool,
        /// Folder with the official files, for a machine without internet.
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
        /// Where to put them [default: `models` in the data folder].
        #[arg(long, env = "FINDME_MODELS", value_name = "DIR")]
        models: Option<PathBuf>,
        #[command(flatten)]
        data: DataArg,
    },
}

/// Does one of the commands.
pub(super) async fn models(command: ModelsCommand) -> anyhow::Result<()> {
    match command {
        ModelsCommand::List => {
            list();
            Ok(())
        }
        ModelsCommand::Install { pack, accept_non_commercial, from, models, data } => {
            let pack = match pack {
                None => default_pack(),
                Some(choice) => chosen(&choice, accept_non_commercial)?,
            };
            let models = match models {
                Some(models) => models,
                None => folder_in(&folder(data)?),
            };
            let terminal = std::io::stderr().is_terminal();
            install(pack, &models, from.as_deref(), |progress| {
                if terminal {
                    let percent = 100 * progress.done / progress.of.max(1);
                    eprint!("\r{}  {percent} %\x1b[K", progress.name);
                    let _ = std::io::stderr().flush();
                }
            })
            .await
            .map_err(|error| match error {
                InstallError::Network { .. } => {
                    anyhow::anyhow!("{error}; try again with internet, or take the files from a folder with --from")
                }
                other => other.into(),
            })?;
            if terminal {
                eprint!("\r\x1b[K");
            }
            println!("{} is in {}", pack.name, models.display());
            println!("{}\n{}", pack.licence, pack.notice);
            Ok(())
        }
    }
}

fn list() {
    for pack in packs() {
        println!("{}{}", pack.name, if pack.default { "  (default)" } else { "" });
        println!("  {}", pack.licence);
        println!("  {}", pack.notice);
        for file in pack.files() {
            println!("  {}  {} bytes", file.file, file.bytes);
            println!("    sha256 {}", file.sha256);
            for source in &file.sources {
                println!("    {}", source.url);
            }
        }
    }
}
