//! The laws of mailbox stores.

use super::{Law, Verdict, same, told};
use cofferdam_core::event::MessageKind;
use cofferdam_core::id::StepPath;
use cofferdam_core::mail::Letter;
use cofferdam_core::port::MailboxStore;

pub(super) const LAWS: &[Law<dyn MailboxStore>] = &[
    Law { sentence: "what was appended is unread, in order, once", holds: |store| Box::pin(appended(store)) },
    Law {
        sentence: "a message is read once, and who comes later learns that",
        holds: |store| Box::pin(read_once(store)),
    },
    Law {
        sentence: "a message that is appended again after it was read stays read",
        holds: |store| Box::pin(stays(store)),
    },
    Law { sentence: "what is not there cannot be read", holds: |store| Box::pin(absent(store)) },
    Law { sentence: "what was closed keeps what it has", holds: |store| Box::pin(closed(store)) },
];

fn letter(id: u64) -> Letter {
    let (from, to) = (StepPath::from("a"), StepPath::from(if id.is_multiple_of(2) { "b" } else { "c" }));
    Letter { id, from, to, kind: MessageKind::Info, text: format!("message {id}").into() }
}

async fn append(store: &dyn MailboxStore, ids: &[u64]) -> Verdict {
    for id in ids {
        store.append(&letter(*id)).await.map_err(|fault| told(&fault))?;
    }
    Ok(())
}

/// Each law has numbers of its own: one store is held against all.
async fn unread(store: &dyn MailboxStore, from: u64) -> Result<Vec<u64>, String> {
    Ok(store
        .unread()
        .await
        .map_err(|fault| told(&fault))?
        .into_iter()
        .filter(|id| (from..from + 10).contains(id))
        .collect())
}

async fn appended(store: &dyn MailboxStore) -> Verdict {
    append(store, &[1, 2, 2, 3, 1]).await?;
    same(&unread(store, 1).await?, &vec![1, 2, 3])
}

async fn read_once(store: &dyn MailboxStore) -> Verdict {
    append(store, &[11, 12, 13]).await?;
    same(&store.mark_read(&[12]).await.map_err(|fault| told(&fault))?, &Vec::new())?;
    same(&unread(store, 11).await?, &vec![11, 13])?;
    same(&store.mark_read(&[11, 12, 13]).await.map_err(|fault| told(&fault))?, &vec![12])?;
    same(&unread(store, 11).await?, &Vec::new())
}

async fn stays(store: &dyn MailboxStore) -> Verdict {
    append(store, &[21]).await?;
    store.mark_read(&[21]).await.map_err(|fault| told(&fault))?;
    append(store, &[21]).await?;
    same(&unread(store, 21).await?, &Vec::new())
}

async fn absent(store: &dyn MailboxStore) -> Verdict {
    same(&store.mark_read(&[31]).await.map_err(|fault| told(&fault))?, &vec![31])
}

async fn closed(store: &dyn MailboxStore) -> Verdict {
    append(store, &[41]).await?;
    store.close().await.map_err(|fault| told(&fault))?;
    same(&unread(store, 41).await?, &vec![41])
}
