//! Cofferdam's pure core: documents, graph, state machine, events and ports; no IO
