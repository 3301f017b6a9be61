//! Models: scripted, extractive and over HTTP
