from services.evolution.app import create_app
from shared.service import main

main(create_app)
