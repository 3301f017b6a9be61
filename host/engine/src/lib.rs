//! Performs the machine's effects: attempts, agent loop, gateway, cancellation, event bus
