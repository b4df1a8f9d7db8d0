"""From archives to chips: finding, reading, normalising, slicing, storing and loading SAR magnitude chips."""
