//! People who are never matched, beside a running server or without one.

use anyhow::bail;
use clap::Subcommand;

use super::event::Which;
use super::site;

#[derive(Debug, Subcommand)]
pub(super) enum SuppressionCommand {
    /// List who asked never to be matched (never the picture, or who it was).
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Match somebody again; the photos that lost faces to it are indexed again.
    Lift {
        #[command(flatten)]
        which: Which,
        /// Number from `suppression list`.
        suppression: i64,
    },
    /// Put one that is held into force.
    Confirm {
        #[command(flatten)]
        which: Which,
        /// Number from `suppression list`.
        suppression: i64,
    },
}

/// Does one of the suppression commands.
pub(super) async fn suppression(command: SuppressionCommand) -> anyhow::Result<()> {
    match command {
        SuppressionCommand::List { which } => {
            let site = site(which.data).await?;
            for item in site.catalog.suppressions(which.event).await? {
                let by = if item.by_session { "by a guest" } else { "its guest is gone" };
                println!("{}  {}  {}  {by}", item.id, item.given_at, item.state.as_str());
            }
            site.close().await;
        }
        SuppressionCommand::Lift { which, suppression } => {
            let site = site(which.data).await?;
            let lifted = site.catalog.lift_suppression_of(which.event, suppression).await?;
            site.close().await;
            if !lifted {
                bail!("the event has no suppression {suppression}");
            }
        }
        SuppressionCommand::Confirm { which, suppression } => {
            let site = site(which.data).await?;
            let confirmed = site.catalog.confirm_suppression(which.event, suppression).await?;
            site.close().await;
            if !confirmed {
                bail!("the event has no suppression {suppression} that is held");
            }
            println!("in force; faces that are stored already go as soon as a server or worker runs");
        }
    }
    Ok(())
}
