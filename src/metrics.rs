//! Every metric: its name, its help and the method called where its event happens.
