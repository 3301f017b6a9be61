//! What runs may spend, and what models cost.

use super::Builder;
use cofferdam_core::budget::{Budget, Price};

impl Builder {
    /// The most that any run may spend, whatever its document and whoever starts it say; what happens then is theirs to say
    /// first. Default: no limit.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.ceiling = budget;
        self
    }

    /// What a model costs, by the name that it has in records, `provider/model`; beats the shipped table.
    #[must_use]
    pub fn price(mut self, model: impl Into<String>, price: Price) -> Self {
        self.prices.set(model, price);
        self
    }
}
