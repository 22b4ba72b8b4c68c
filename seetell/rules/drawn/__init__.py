"""What the built-in teacher writes about drawn scenes, whose captions say everything."""
