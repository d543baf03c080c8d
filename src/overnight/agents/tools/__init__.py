"""What the tool-calling loop can do, one file a tool."""
