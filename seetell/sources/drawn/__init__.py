"""Drawn scenes: pictures made by our own code, with captions and boxes, endless and seeded.

They stand in for COCO where there is no network: `layout` decides what is where, `sprites`, `backgrounds`
and `render` draw it, `words` names it, `questions` asks about it, `scenes` hands it on as `Scene`s.
"""
