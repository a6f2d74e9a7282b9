"""What authors of agents subclass and decorate, and the shell that runs turns."""
