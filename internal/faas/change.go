package faas

// Change is what one control has changed, and others may remember otherwise.
type Change struct {
	Function Name      // whose versions or aliases have changed; zero: none
	Session  SessionID // that was deleted; empty: none
	Key      string    // id of an API key that was revoked or changed; empty: none
	Secrets  bool      // some have changed
	Config   bool      // another version of declared routes is the current one
	All      bool      // anything may have changed, since changes may have been missed
	Began    bool      // nothing: from here on changes are told
}
