package phone

// TameLibrary applies what New applies once per process, before anything of sipgo runs.
func TameLibrary() { tameLibrary() }
