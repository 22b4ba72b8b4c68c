"""The built-in teacher: a chat model that reads only the text of a prompt. [words]"""
