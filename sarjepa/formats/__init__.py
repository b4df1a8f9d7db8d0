"""Archives and image files as others wrote them, read without trust: one line refuses what is damaged or hostile."""
