"""Where photos come from: files, folders, lists, tars, Parquet tables and object stores."""
