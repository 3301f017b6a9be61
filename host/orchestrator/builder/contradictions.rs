//! Settings that cannot hold together.

use super::{Builder, documents};
use crate::error::Error;
use crate::orchestrator::model_options::faults_of;

impl Builder {
    pub(super) fn refuse_contradictions(&self) -> Result<(), Error> {
        if self.model.is_some() && self.default_model.is_some() {
            return Err(Error::Settings("both a model and the name of a default model are given".to_owned()));
        }
        if self.isolation.is_some() && self.workdir.is_some() {
            return Err(Error::Settings("a working directory is given, and an isolation that has its own".to_owned()));
        }
        if self.undecided.locked && self.lock.is_none() {
            return Err(Error::Settings("only locked plugins shall run, and there is no lock file".to_owned()));
        }
        documents::check(&self.host)?;
        if let Some(fault) = faults_of(&self.model_options).first() {
            return Err(Error::Settings(fault.message.clone()));
        }
        Ok(())
    }
}
