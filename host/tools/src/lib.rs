//! Native tools over directory handles
