"""Keeps files in order: takes in what older versions recorded beside them."""
