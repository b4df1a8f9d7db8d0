"""Archives and image files as others wrote them, read without trust: what is damaged or hostile is refused in a line."""
