"""What makes a site of docs/, beside mkdocs: links that leave the folder, and the page of settings."""
