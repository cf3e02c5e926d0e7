"""The pure core: references, records, steps, ancestry and promotions, as plain values.

It opens no table, starts no process, and spells no asset's name.
"""
