"""One controller that makes machines follow what billing says, and can prove each act."""
