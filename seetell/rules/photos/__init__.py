"""What the built-in teacher writes about photographs, of which captions and boxes say only a part."""
