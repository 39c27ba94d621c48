//! Events and the tokens of the machines that upload to them, beside a running server or without one.

use clap::Subcommand;
use findme_common::EventId;

use super::{DataArg, folder, show_operator_token};
use crate::{NewEvent, Site};

#[derive(Debug, Subcommand)]
pub(super) enum EventCommand {
    /// Create an event; prints its join code and a first photographer token.
    Create {
        /// Name that guests see.
        name: String,
        #[command(flatten)]
        data: DataArg,
    },
    /// List all events, newest first.
    List {
        #[command(flatten)]
        data: DataArg,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Create a photographer token for a further machine.
    Create {
        /// Id of the event.
        event: EventId,
        /// Which machine it is for.
        #[arg(long, default_value = "machine")]
        label: String,
        #[command(flatten)]
        data: DataArg,
    },
}

/// Does one of the event commands.
pub(super) async fn event(command: EventCommand) -> anyhow::Result<()> {
    match command {
        EventCommand::Create { name, data } => {
            let site = Site::open(&folder(data)?).await?;
            show_operator_token(site.first_operator_token.as_ref());
            let created = site.create_event(NewEvent { name }).await?;
            println!("event               {}", created.id);
            println!("join code           {}", created.join);
            println!("guests' link        <your address>/e/{}", created.join);
            println!("photographer token  {}", created.photographer.reveal());
            println!("The photographer token is shown only now: put it into FINDME_TOKEN, or a file for --token-file.");
            site.close().await;
        }
        EventCommand::List { data } => {
            let site = Site::open(&folder(data)?).await?;
            for (id, name, join) in site.events().await? {
                println!("{id}  {join}  {name}");
            }
            site.close().await;
        }
    }
    Ok(())
}

/// Does one of the token commands.
pub(super) async fn token(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create { event, label, data } => {
            let site = Site::open(&folder(data)?).await?;
            println!("{}", site.create_photographer_token(event, &label).await?.reveal());
            site.close().await;
        }
    }
    Ok(())
}
