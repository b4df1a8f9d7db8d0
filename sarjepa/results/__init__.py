"""What commands leave behind: folders of results with their locks and records, and the tables made of them."""
