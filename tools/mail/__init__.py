"""
Mail as it arrives, made readable: parsing, cleaning, reply splitting, noise and threads. Nothing here knows a database.

    rfc822 | graph  ->  messages.Mail  ->  html.to_text  ->  replies.split  ->  noise.kind_of, threads.keys_of
"""
