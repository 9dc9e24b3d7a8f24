"""The Corral daemon: a pure centre (model, state, plans) and the shell that carries decisions out."""
