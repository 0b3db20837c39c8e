-- Mail that fits a page is stored as it came. By default every row above 2 kB is compressed, which cost as much as all
-- else about writing a message; what is larger than a page still is compressed and kept beside the table.
ALTER TABLE email_messages SET (toast_tuple_target = 8160);
