"""Taxi trips, classified by whether the tip is a big one."""
