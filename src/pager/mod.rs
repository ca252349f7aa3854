//! Which bytes of the model are where, and which come next: pure policy without IO or clock.
