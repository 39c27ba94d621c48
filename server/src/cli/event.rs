//! Events and the tokens of the machines that upload to them, beside a running server or without one.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use findme_common::EventId;
use findme_common::protocol::{EventChange, Policy, Until};

use super::{DataArg, show_operator_token, site};
use crate::NewEvent;
use crate::catalog::Actor;
use crate::clock::rfc3339;
use crate::retention::{ATTESTED, FACES_DAYS, LONGEST_DAYS, PHOTOS_DAYS};

#[derive(Debug, Subcommand)]
pub(super) enum EventCommand {
    /// Create an event; prints its join code and a first photographer token.
    Create {
        /// Name that guests see.
        name: String,
        /// Whether faces are looked for: `attested` (you state that everyone was told) or `off`.
        #[arg(long, default_value = "attested")]
        policy: Policy,
        /// Erase the faces after this many days [0: not before the event is deleted].
        #[arg(long, value_name = "DAYS", default_value_t = FACES_DAYS, value_parser = days())]
        faces_days: u32,
        /// Delete the event after this many days [0: never by itself].
        #[arg(long, value_name = "DAYS", default_value_t = PHOTOS_DAYS, value_parser = days())]
        photos_days: u32,
        #[command(flatten)]
        data: DataArg,
    },
    /// List all events, newest first.
    List {
        #[command(flatten)]
        data: DataArg,
    },
    /// Give an event another name.
    Rename {
        #[command(flatten)]
        which: Which,
        /// Name that guests see.
        name: String,
    },
    /// Take no more photos.
    Close {
        #[command(flatten)]
        which: Which,
    },
    /// Change for how long faces and photos are kept, counted from now.
    Retain {
        #[command(flatten)]
        which: Which,
        /// Erase the faces after this many days from now [0: not before the event is deleted].
        #[arg(long, value_name = "DAYS", value_parser = days())]
        faces_days: Option<u32>,
        /// Delete the event after this many days from now [0: never by itself].
        #[arg(long, value_name = "DAYS", value_parser = days())]
        photos_days: Option<u32>,
    },
    /// Delete an event with everything: photos, faces, guests.
    Delete {
        #[command(flatten)]
        which: Which,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// One event of a data folder.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Id of the event.
    pub(super) event: EventId,
    #[command(flatten)]
    pub(super) data: DataArg,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Create a photographer token for a further machine.
    Create {
        #[command(flatten)]
        which: Which,
        /// Which machine it is for.
        #[arg(long, default_value = "machine")]
        label: String,
    },
    /// List the tokens of an event (never the tokens themselves).
    List {
        #[command(flatten)]
        which: Which,
    },
    /// Let a token upload no more.
    Revoke {
        #[command(flatten)]
        which: Which,
        /// Number of the token, from `token list`.
        token: i64,
    },
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=i64::from(LONGEST_DAYS))
}

/// Does one of the event commands.
pub(super) async fn event(command: EventCommand) -> anyhow::Result<()> {
    match command {
        EventCommand::Create { name, policy, faces_days, photos_days, data } => {
            create(NewEvent { name, policy, faces_days, photos_days }, data).await
        }
        EventCommand::List { data } => list(data).await,
        EventCommand::Rename { which, name } => {
            change(which, EventChange { name: Some(name), ..EventChange::default() }).await
        }
        EventCommand::Close { which } => {
            change(which, EventChange { closed: Some(true), ..EventChange::default() }).await
        }
        EventCommand::Retain { which, faces_days, photos_days } => {
            let (faces_until, photos_until) = (faces_days.map(Until::Days), photos_days.map(Until::Days));
            if faces_until.is_none() && photos_until.is_none() {
                bail!("say for how long: --faces-days or --photos-days");
            }
            change(which, EventChange { faces_until, photos_until, ..EventChange::default() }).await
        }
        EventCommand::Delete { which, yes } => delete(which, yes).await,
    }
}

async fn create(new: NewEvent, data: DataArg) -> anyhow::Result<()> {
    let site = site(data).await?;
    show_operator_token(site.first_operator_token.as_ref());
    let policy = new.policy;
    let created = site.create_event(new).await?;
    println!("event               {}", created.id);
    println!("join code           {}", created.join);
    println!("guests' link        <your address>/e/{}", created.join);
    if let Some(event) = site.catalog.event(created.id).await? {
        println!("faces until         {}", term(event.faces_until));
        println!("photos until        {}", term(event.photos_until));
    }
    if policy == Policy::Attested {
        println!("You state: {ATTESTED}. (Without it: --policy off.)");
    }
    println!("photographer token  {}", created.photographer.reveal());
    println!("The photographer token is shown only now: put it into FINDME_TOKEN, or a file for --token-file.");
    site.close().await;
    Ok(())
}

fn term(until: Option<i64>) -> String {
    until.map_or_else(|| "the event is deleted".to_owned(), rfc3339)
}

async fn list(data: DataArg) -> anyhow::Result<()> {
    let site = site(data).await?;
    for event in site.catalog.events().await? {
        let closed = if event.closed_at.is_some() { "  (closed)" } else { "" };
        println!("{}  {}  {}{closed}", event.id, event.join, event.name);
    }
    site.close().await;
    Ok(())
}

async fn change(which: Which, change: EventChange) -> anyhow::Result<()> {
    let site = site(which.data).await?;
    let there = site.catalog.change_event(which.event, &change, None).await?;
    site.close().await;
    if there { Ok(()) } else { bail!("there is no event {}", which.event) }
}

async fn delete(which: Which, yes: bool) -> anyhow::Result<()> {
    let site = site(which.data).await?;
    let event = site.catalog.event(which.event).await?;
    let event = event.with_context(|| format!("there is no event {}", which.event))?;
    if !yes {
        if !std::io::stdin().is_terminal() {
            bail!("deletes «{}» with all its photos for good; say --yes", event.name);
        }
        print!("Delete «{}» with all its photos for good? Type yes: ", event.name);
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if answer.trim() != "yes" {
            bail!("nothing was deleted");
        }
    }
    site.delete_event(event.id, Actor::Operator).await?;
    site.close().await;
    println!("deleted {}", event.id);
    Ok(())
}

/// Does one of the token commands.
pub(super) async fn token(command: TokenCommand) -> anyhow::Result<()> {
    match command {
        TokenCommand::Create { which, label } => {
            let site = site(which.data).await?;
            println!("{}", site.create_photographer_token(which.event, &label).await?.reveal());
            site.close().await;
        }
        TokenCommand::List { which } => {
            let site = site(which.data).await?;
            for token in site.catalog.tokens(which.event).await? {
                let seen = token.last_seen.as_deref().unwrap_or("never used");
                let revoked = if token.revoked_at.is_some() { "  (revoked)" } else { "" };
                println!("{}  {}  {seen}{revoked}", token.id, token.label);
            }
            site.close().await;
        }
        TokenCommand::Revoke { which, token } => {
            let site = site(which.data).await?;
            let revoked = site.catalog.revoke_token(which.event, token).await?;
            site.close().await;
            if !revoked {
                bail!("the event has no token {token} that is valid");
            }
        }
    }
    Ok(())
}
