"""What people read: pages, tables, figures, differences, exports, and a signature over all of it."""
